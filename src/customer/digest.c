/*
 * digest.c
 *	  What stands for an erased identity or key, where something has to be recognised that may no longer be known.
 *
 * A salt of the database's own, which only few roles may read, keeps others from finding out by trial whose digest it
 * is; who deletes the salt makes all digests meaningless.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#include "omnichannel.h"
#include "customer/customer.h"

SQL_FUNCTION(omnichannel_erasure_digest);

static void *salt_build(ConfigCache *cache, MemoryContext context);

static ConfigCache salt_cache = {.name = "erasure_salt", .tables = {"erasure_salt"}, .build = salt_build};

static KeptPlan salt_select = {
	.sql = "SELECT salt FROM omnichannel.erasure_salt",
};

/* Reads the salt; raises 55000 where it is gone. */
static void *
salt_build(ConfigCache *cache, MemoryContext context)
{
	if (kept_plan_run(&salt_select, NULL, NULL, true, 1) != 1)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("the table \"omnichannel.erasure_salt\" is empty"),
						errhint("Insert its one row again, with the salt of a backup: another recognises nothing.")));
	return spi_text(0, 1, context);
}

/*
 * erasure_digest returns a SHA-256 digest of two texts and the salt, in 64 hexadecimal digits, in the current context.
 *
 * Raises 42501 without SELECT on the salt, and 55000 before setup() or without a salt.
 */
const char *
erasure_digest(const char *a, const char *b)
{
	const char *salt = config_cache_get(&salt_cache);
	/* The length keeps apart where the one ends and the other begins. */
	text *message = cstring_to_text(psprintf("%s:%zu:%s%s", salt, strlen(a), a, b));
	bytea *digest = DatumGetByteaPP(DirectFunctionCall1(sha256_bytea, PointerGetDatum(message)));
	char *hex = palloc(2 * VARSIZE_ANY_EXHDR(digest) + 1);

	hex[hex_encode(VARDATA_ANY(digest), VARSIZE_ANY_EXHDR(digest), hex)] = '\0';
	return hex;
}

/* erasure_digest(a, b): returns the digest of two texts. */
Datum
omnichannel_erasure_digest(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(
		cstring_to_text(erasure_digest(text_to_cstring(PG_GETARG_TEXT_PP(0)), text_to_cstring(PG_GETARG_TEXT_PP(1)))));
}
