"""The same numbers, faster: what models call by one name, and the only room that asks for a device."""
