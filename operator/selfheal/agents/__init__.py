"""The five agents: prompts, tools and a budgeted loop; they propose, code disposes."""
