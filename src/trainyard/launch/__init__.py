"""Starting the processes of a training or an evaluation, and ending them."""
