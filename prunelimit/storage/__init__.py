"""Files written whole or not at all, and unfinished work to go on from."""
