package localfile

const openFlags = 0
