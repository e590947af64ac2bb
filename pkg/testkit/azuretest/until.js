// Ends the process with its input, so that it does not outlive the test.
process.stdin.resume().on('end', () => process.exit(0));
