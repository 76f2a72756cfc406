"""What verl 0.9.1 imports in every one of its processes (``VERL_USE_EXTERNAL_MODULES=jfhpo.trainers.verl.plugin``).

It is a module of effects: importing it mends what keeps verl from running beside TRL and, where ``VERL_PLATFORM=cpu``
asks for it, makes the CPU a platform of verl's. On a GPU without TRL it changes nothing.
"""

import os

import verl.utils.import_utils

from jfhpo.trainers.verl import cpu_platform

# models/transformers/monkey_patch.py:352 imports AutoModelForCausalLMWithValueHead wherever TRL is installed; TRL 1.x
# has removed that class, and verl needs it for critics with a value head only.
verl.utils.import_utils.is_trl_available = lambda: False

if os.environ.get("VERL_PLATFORM") == cpu_platform.NAME:
    cpu_platform.install()
