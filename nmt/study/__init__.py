"""Studies: several systems trained under equal conditions and compared by one printed rule."""
