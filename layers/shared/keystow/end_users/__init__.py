"""What an environment keeps of one end user, over all connections and sessions."""
