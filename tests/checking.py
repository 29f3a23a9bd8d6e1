"""The type checker that the import hook puts on every function of seamwise: where a float is asked, an int will do."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
