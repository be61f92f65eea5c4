"""What is the user's own stays so: files are opened only if that is safe, and never written over; names are escaped."""
