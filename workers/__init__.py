"""What executes trials: the training loop and its workloads, and the processes that feed it."""
