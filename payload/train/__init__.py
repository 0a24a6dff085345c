"""How the shipped model is made: pairs of the generated world, training, export. Runs on the ground."""
