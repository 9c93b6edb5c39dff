"""An agent of smolagents, whose model answers fixed code, works in a sandbox."""

from smolagents import CodeAgent, Model, tool
from smolagents.models import ChatMessage, MessageRole

STEPS = [
    "import math\nstate = double(math.factorial(4))\nprint('state', state)",
    "numbers = [state, 1 / 0]",
    "import os\nfinal_answer({'state': state, 'home': os.getcwd()})",
]


class FixedModel(Model):
    def __init__(self):
        super().__init__(model_id="fixed")
        self.step = 0
        self.seen = []

    def generate(self, messages, **_):
        self.seen.append(str(messages[-1].content))
        code = STEPS[self.step]
        self.step += 1
        return ChatMessage(role=MessageRole.ASSISTANT, content=f"Thought: go on\n<code>\n{code}\n</code>")


@tool
def double(number: int) -> int:
    """Doubles a number.

    Args:
        number: What is doubled.
    """
    return number * 2


model = FixedModel()
with CodeAgent(tools=[double], model=model, executor_type="e2b", additional_authorized_imports=["math", "os"], max_steps=4) as agent:
    answer = agent.run("Double the factorial of four.")
assert answer == {"state": 48, "home": "/home/user"}, answer
assert "state 48" in model.seen[1], model.seen[1]
assert "ZeroDivisionError" in model.seen[2], model.seen[2]
print("passed")
