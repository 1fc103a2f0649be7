"""The same numbers, faster: what models call by one name, so that they need not ask which device they are on."""
