// Runs the tests that need no rights.
#include "check.h"

int main() { return check::runAll(); }
