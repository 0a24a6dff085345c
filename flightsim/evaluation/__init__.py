"""How good a payload is: questions with known answers, scores with intervals, controls, and a page of its mistakes.

Any payload can be scored; it is found by the registry, as in a flight. Truth stays on this side: a payload gets
pictures and questions, and only one that declares ``needs_truth`` gets more.
"""
