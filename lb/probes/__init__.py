"""Active health checks of backends."""
