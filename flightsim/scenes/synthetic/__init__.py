"""A generated world: places with a history, seen through air and a camera, with exact truth."""
