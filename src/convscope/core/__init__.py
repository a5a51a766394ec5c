"""What every other part stands on: errors, the catalog, configuration, random streams, files, records."""
