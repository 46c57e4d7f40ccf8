"""Long-running work: the job worker and Prefect flows. Uses the server over HTTP only."""
