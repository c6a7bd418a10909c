package main

// scenarios lists every procedure there is, in the order they are played.
func scenarios() []scenario { return []scenario{transfer()} }
