"""Programs that try to cheat or to do harm, programs that must go on working, and their judge."""
