"""task_template: a small regression through a fixed point, made from the template of scripts/new_task.py."""
