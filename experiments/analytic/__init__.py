"""Does every method do better than chance where the optimum is known?"""
