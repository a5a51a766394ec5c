"""The machine: devices, threads, torch's global state, precision, and what makes two machines comparable."""
