"""What a stopping rule finds for the same time, on learning curves of real trainings, beside other tools."""
