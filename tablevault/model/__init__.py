"""Tables, instances and temporary instances, as one commit of ``main`` has them."""
