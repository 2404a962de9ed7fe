# omnichannel: build, install and test. The version stands in omnichannel.control only.
EXTENSION    = omnichannel
EXT_VERSION := $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" $(EXTENSION).control)
MODULE_big   = $(EXTENSION)
PGFILEDESC   = "omnichannel - one customer, one truth in every channel"

# Rooms in the order in which they may call one another: a room calls those before it only.
ROOMS        = core calendar customer catalogue pricing request sla routing contact report access
# A room's functions.sql and tables.sql, then those of its topics: lock.functions.sql.
FUNCTIONS    = $(foreach room,$(ROOMS),$(wildcard src/$(room)/functions.sql) $(sort $(wildcard src/$(room)/*.functions.sql)))
TABLES       = $(foreach room,$(ROOMS),$(wildcard src/$(room)/tables.sql) $(sort $(wildcard src/$(room)/*.tables.sql)))
OBJS         = $(patsubst %.c,%.o,$(sort $(wildcard src/*.c src/*/*.c)))
INCLUDED     = $(wildcard src/*.h src/*/*.h)

EXT_SCRIPT   = $(EXTENSION)--$(EXT_VERSION).sql
DATA_built   = $(EXT_SCRIPT)
REGRESS      = setup $(filter-out setup,$(sort $(patsubst sql/%.sql,%,$(wildcard sql/*.sql))))
EXTRA_CLEAN  = $(EXT_SCRIPT) tmp_check test/fuzz/build results output_iso

# PGDLLEXPORT: before 16, hidden visibility would hide even the module's magic symbol.
PG_CPPFLAGS  = -I$(srcdir)/src -DPGDLLEXPORT='__attribute__((visibility("default")))'
PG_CFLAGS    = -std=gnu99 -fvisibility=hidden -Wall -Wextra -Wno-unused-parameter \
               -Wno-missing-field-initializers -Wno-declaration-after-statement

# Holidays are read with libical.
PKG_CONFIG  ?= pkg-config
PG_CPPFLAGS += $(shell $(PKG_CONFIG) --cflags libical)
SHLIB_LINK   = $(shell $(PKG_CONFIG) --libs-only-L libical) -lical

# These need no PostgreSQL yet: their scripts install it. They stand apart from PGXS, which has a target "check" too.
ifneq ($(filter demo check bench,$(MAKECMDGOALS)),)
.PHONY: demo check bench
demo:
	test/demo.sh
check:
	test/check.sh
bench:
	test/bench/run.sh
else
PG_CONFIG   ?= pg_config
PGXS        := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

$(OBJS): $(INCLUDED)

# The install script: the rooms' functions.sql, then setup_script(), whose body is the rooms' tables.sql.
$(EXT_SCRIPT): src/build-sql.sh $(FUNCTIONS) $(TABLES) $(EXTENSION).control
	sh src/build-sql.sh "$(FUNCTIONS)" "$(TABLES)" > $@.tmp && mv $@.tmp $@
endif
