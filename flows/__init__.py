"""All that runs long: the job worker and Prefect flows. Speaks to serve over HTTP only."""
