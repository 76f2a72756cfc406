"""Where trials run. An executor hands out `Worker`s; each hosts one trainer."""
