-- KEYS: state. ARGV: epoch to begin with. Returns the epoch.
return epoch_of(KEYS[1], ARGV[1])
