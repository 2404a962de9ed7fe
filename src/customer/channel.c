/*
 * channel.c
 *	  The channels, cached.
 */
#include "postgres.h"

#include "datatype/timestamp.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"

#include "omnichannel.h"
#include "customer/customer.h"

SQL_FUNCTION(omnichannel_require_channel);

static void *channel_build(ConfigCache *cache, MemoryContext context);

static ConfigCache channel_cache = {.name = "channel", .tables = {"channel"}, .build = channel_build};

static KeptPlan channel_select = {
	.sql = "SELECT channel, cost, opens_request, request_kind, queue, extract(epoch FROM conversation_gap)::float8 "
		   "FROM omnichannel.channel",
};

/* Reads the channels into a hash table. */
static void *
channel_build(ConfigCache *cache, MemoryContext context)
{
	uint64 rows = kept_plan_run(&channel_select, NULL, NULL, true, 0);
	HASHCTL control = {.keysize = sizeof(((Channel *) NULL)->code), .entrysize = sizeof(Channel), .hcxt = context};
	HTAB *channels =
		hash_create("omnichannel channels", Max(rows, 16), &control, HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);

	for (uint64 row = 0; row < rows; row++)
	{
		bool isnull;
		Channel *channel = hash_search(channels, spi_text(row, 1, CurrentMemoryContext), HASH_ENTER, NULL);

		channel->cost = DatumGetInt32(spi_datum(row, 2, &isnull));
		channel->opens_request = DatumGetBool(spi_datum(row, 3, &isnull));
		channel->request_kind = spi_text(row, 4, context);
		channel->queue = spi_text(row, 5, context);
		channel->conversation_gap = (int64) (DatumGetFloat8(spi_datum(row, 6, &isnull)) * USECS_PER_SEC);
	}
	return channels;
}

/* Returns the channel, or NULL where there is none of this code. Raises 55000 before setup(). */
static const Channel *
channel_find(const char *code)
{
	HTAB *channels = unconstify(void *, config_cache_get(&channel_cache));

	/* The hash would cut a longer code to its key's size. */
	if (strlen(code) >= sizeof(((Channel *) NULL)->code))
		return NULL;
	return hash_search(channels, code, HASH_FIND, NULL);
}

/* Returns the channel; raises 23503 where there is none of this code, as there is for NULL. */
const Channel *
channel_get(const char *code)
{
	const Channel *channel = code == NULL ? NULL : channel_find(code);

	if (channel == NULL)
		ereport(ERROR, (errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
						errmsg("channel %s does not exist", code == NULL ? "NULL" : psprintf("\"%s\"", excerpt(code))),
						errhint("The table omnichannel.channel lists the channels; insert a row for a new one.")));
	return channel;
}

/* require_channel(channel): returns nothing; raises 23503 where there is none, for NULL too. */
Datum
omnichannel_require_channel(PG_FUNCTION_ARGS)
{
	(void) channel_get(PG_ARGISNULL(0) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(0)));
	PG_RETURN_VOID();
}
