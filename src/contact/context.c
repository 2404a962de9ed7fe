/*
 * context.c
 *	  What anyone who talks to a customer must know now, and what is new since they looked last.
 *
 * One statement each, over the group of ids under which the customer is on record. The plans are generic and kept to
 * the indexes: planning such a statement takes longer than running it, and a plan made while the tables were empty
 * would read them whole when they have grown.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/guc.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "omnichannel.h"
#include "customer/customer.h"

SQL_FUNCTION(omnichannel_customer_context);
SQL_FUNCTION(omnichannel_context_since);

#define CONTACTS_MAX 1000

/* The columns of a contact c, joined with its agent a. */
#define CONTACT_JSON                                                                                                   \
	"jsonb_build_object('contact_id', c.contact_id, 'occurred_at', c.occurred_at, 'channel', c.channel,"               \
	" 'direction', c.direction, 'outcome', c.outcome, 'agent_id', c.agent_id, 'agent', concat_ws(' ', a.name,"         \
	" a.surname), 'request_id', c.request_id, 'thread', c.thread, 'subject', c.subject, 'excerpt', left(c.body, 200))"

/* The columns of a request r. */
#define REQUEST_JSON                                                                                                   \
	"jsonb_build_object('request_id', r.request_id, 'kind', r.kind, 'state', r.state, 'channel', r.channel,"           \
	" 'current_channel', coalesce(r.current_channel, r.channel), 'queue', r.queue, 'priority', r.priority,"            \
	" 'agent_id', r.agent_id, 'subject', r.subject, 'data', r.data, 'version', r.version, 'opened_at', r.opened_at,"   \
	" 'state_since', r.state_since, 'closed_at', r.closed_at)"

/* $1: the group; $2: how many contacts. Of merged customers the kept one's own columns count, then the others'. */
static KeptPlan context_select = {
	.sql =
		"SELECT jsonb_build_object('customer_id', $1[1], 'merged', to_jsonb($1[2:]), 'as_of', now(),"
		" 'name', person.name, 'birth_date', person.birth_date, 'language', person.language,"
		" 'preferred_channel', person.preferred_channel, 'created_at', person.created_at,"
		" 'erased_at', person.erased_at,"
		" 'identities', coalesce((SELECT jsonb_agg(jsonb_build_object('kind', i.kind, 'value', i.value,"
		"   'verified_at', i.verified_at) ORDER BY i.kind, i.value)"
		"   FROM omnichannel.identity AS i WHERE i.customer_id = ANY ($1)), '[]'),"
		" 'segments', coalesce((SELECT jsonb_agg(DISTINCT s.segment ORDER BY s.segment)"
		"   FROM omnichannel.segment_member AS s WHERE s.customer_id = ANY ($1) AND s.valid @> now()), '[]'),"
		" 'facts', coalesce((SELECT jsonb_object_agg(f.key, jsonb_build_object('value', f.value, 'since', f.since,"
		"   'source', f.source)) FROM (SELECT DISTINCT ON (fact.key) fact.key, fact.value, fact.since, fact.source"
		"     FROM omnichannel.fact WHERE fact.customer_id = ANY ($1) AND fact.since <= now()"
		"     ORDER BY fact.key, fact.since DESC, fact.fact_id DESC) AS f WHERE f.value IS NOT NULL), '{}'),"
		" 'consents', coalesce((WITH decision AS (SELECT DISTINCT ON (consent.purpose, consent.channel) consent.*"
		"     FROM omnichannel.consent WHERE consent.customer_id = ANY ($1) AND consent.since <= now()"
		"     ORDER BY consent.purpose, consent.channel, consent.since DESC, consent.consent_id DESC)"
		"   SELECT jsonb_agg(jsonb_build_object('purpose', d.purpose, 'channel', d.channel, 'granted',"
		"     d.granted AND coalesce(d.expires_at > now(), true), 'since', d.since, 'expires_at', d.expires_at)"
		"     ORDER BY d.purpose, d.channel NULLS FIRST) FROM decision AS d"
		"   WHERE d.channel IS NULL OR NOT EXISTS (SELECT FROM decision AS g WHERE g.purpose = d.purpose"
		"     AND g.channel IS NULL AND (g.since, g.consent_id) > (d.since, d.consent_id))), '[]'),"
		" 'open_requests', coalesce((SELECT jsonb_agg(" REQUEST_JSON " ORDER BY r.opened_at, r.request_id)"
		"   FROM omnichannel.request AS r WHERE r.customer_id = ANY ($1) AND r.closed_at IS NULL), '[]'),"
		" 'service_levels', coalesce((SELECT jsonb_agg(jsonb_build_object('metric', s.metric, 'policy', s.policy,"
		"   'request_id', s.request_id, 'channel', s.channel, 'thread', s.thread, 'state', s.state, 'due_at', s.due_at)"
		"   ORDER BY s.due_at, s.clock_id) FROM omnichannel.sla_status AS s WHERE s.customer_id = ANY ($1)), '[]'),"
		" 'last_contacts', coalesce((SELECT jsonb_agg(last.contact ORDER BY last.occurred_at DESC,"
		"   last.contact_id DESC) FROM (SELECT c.occurred_at, c.contact_id, " CONTACT_JSON " AS contact"
		"     FROM (SELECT latest.* FROM unnest($1) AS who (customer_id) CROSS JOIN LATERAL ("
		"         SELECT * FROM omnichannel.contact AS logged WHERE logged.customer_id = who.customer_id"
		"         ORDER BY logged.occurred_at DESC, logged.contact_id DESC LIMIT $2) AS latest"
		"       ORDER BY latest.occurred_at DESC, latest.contact_id DESC LIMIT $2) AS c"
		"     LEFT JOIN omnichannel.agent AS a ON a.agent_id = c.agent_id) AS last), '[]'),"
		" 'best_agent', (SELECT jsonb_build_object('agent_id', best.agent_id, 'name', best.name,"
		"   'surname', best.surname, 'photo_url', best.photo_url, 'department', best.department,"
		"   'contacts', best.contacts, 'last_at', best.last_at)"
		"   FROM (SELECT a.*, known.contacts, known.last_at"
		"     FROM (SELECT k.agent_id, sum(k.contacts)::bigint AS contacts, max(k.last_at) AS last_at,"
		"         sum(omnichannel.relationship_strength(k.strength, k.aged_at, now())) AS strength"
		"       FROM omnichannel.relationship AS k WHERE k.customer_id = ANY ($1) GROUP BY k.agent_id) AS known"
		"     JOIN omnichannel.agent AS a ON a.agent_id = known.agent_id AND a.active"
		"     ORDER BY known.strength DESC, known.agent_id LIMIT 1) AS best))"
		" FROM (SELECT (array_agg(p.name ORDER BY p.place) FILTER (WHERE p.name IS NOT NULL))[1] AS name,"
		"   (array_agg(p.birth_date ORDER BY p.place) FILTER (WHERE p.birth_date IS NOT NULL))[1] AS birth_date,"
		"   (array_agg(p.language ORDER BY p.place) FILTER (WHERE p.language IS NOT NULL))[1] AS language,"
		"   (array_agg(p.preferred_channel ORDER BY p.place) FILTER (WHERE p.preferred_channel IS NOT NULL))[1]"
		"     AS preferred_channel, min(p.created_at) AS created_at, min(p.erased_at) AS erased_at"
		"   FROM (SELECT customer.*, array_position($1, customer.customer_id) AS place FROM omnichannel.customer"
		"     WHERE customer.customer_id = ANY ($1)) AS p) AS person",
	.nargs = 2,
	.argtypes = {INT8ARRAYOID, INT4OID},
};

/* $1: the group; $2: since when; $3: how many contacts. */
static KeptPlan since_select = {
	.sql =
		"SELECT jsonb_build_object('customer_id', $1[1], 'since', $2, 'as_of', now(),"
		" 'contacts', coalesce((SELECT jsonb_agg(last.contact ORDER BY last.occurred_at DESC, last.contact_id DESC)"
		"   FROM (SELECT c.occurred_at, c.contact_id, " CONTACT_JSON " AS contact"
		"     FROM (SELECT latest.* FROM unnest($1) AS who (customer_id) CROSS JOIN LATERAL ("
		"         SELECT * FROM omnichannel.contact AS logged WHERE logged.customer_id = who.customer_id"
		"           AND (logged.occurred_at >= $2 OR logged.logged_at >= $2)"
		"         ORDER BY logged.occurred_at DESC, logged.contact_id DESC LIMIT $3) AS latest"
		"       ORDER BY latest.occurred_at DESC, latest.contact_id DESC LIMIT $3) AS c"
		"     LEFT JOIN omnichannel.agent AS a ON a.agent_id = c.agent_id) AS last), '[]'),"
		" 'requests', coalesce((SELECT jsonb_agg(" REQUEST_JSON " ORDER BY r.opened_at, r.request_id)"
		"   FROM omnichannel.request AS r WHERE r.customer_id = ANY ($1)"
		"   AND (r.opened_at >= $2 OR r.state_since >= $2)), '[]'),"
		" 'facts', coalesce((SELECT jsonb_agg(jsonb_build_object('key', f.key, 'value', f.value, 'retracted',"
		"   f.value IS NULL, 'since', f.since, 'source', f.source) ORDER BY f.recorded_at, f.fact_id)"
		"   FROM omnichannel.fact AS f WHERE f.customer_id = ANY ($1) AND f.recorded_at >= $2), '[]'),"
		" 'consents', coalesce((SELECT jsonb_agg(jsonb_build_object('purpose', d.purpose, 'channel', d.channel,"
		"   'granted', d.granted, 'since', d.since, 'expires_at', d.expires_at) ORDER BY d.recorded_at, d.consent_id)"
		"   FROM omnichannel.consent AS d WHERE d.customer_id = ANY ($1) AND d.recorded_at >= $2), '[]'),"
		" 'identities', coalesce((SELECT jsonb_agg(jsonb_build_object('kind', i.kind, 'value', i.value, 'verified_at',"
		"   i.verified_at) ORDER BY i.kind, i.value) FROM omnichannel.identity AS i"
		"   WHERE i.customer_id = ANY ($1) AND (i.created_at >= $2 OR i.verified_at >= $2)), '[]'),"
		" 'merges', coalesce((SELECT jsonb_agg(jsonb_build_object('merge_id', m.merge_id, 'kept_id', m.kept_id,"
		"   'duplicate_id', m.duplicate_id, 'merged_at', m.merged_at, 'unmerged_at', m.unmerged_at)"
		"   ORDER BY m.merge_id)"
		"   FROM (SELECT * FROM omnichannel.customer_merge AS kept WHERE kept.kept_id = ANY ($1)"
		"     AND (kept.merged_at >= $2 OR kept.unmerged_at >= $2) UNION"
		"     SELECT * FROM omnichannel.customer_merge AS gone WHERE gone.duplicate_id = ANY ($1)"
		"     AND (gone.merged_at >= $2 OR gone.unmerged_at >= $2)) AS m), '[]'))",
	.nargs = 3,
	.argtypes = {INT8ARRAYOID, TIMESTAMPTZOID, INT4OID},
};

/* Keeps the planner to generic plans and to the indexes until the scope ends. */
static void
keep_plans_simple(void)
{
	static const char *const settings[][2] = {{"plan_cache_mode", "force_generic_plan"},
											  {"enable_seqscan", "off"},
											  {"enable_hashjoin", "off"},
											  {"enable_mergejoin", "off"},
											  {"jit", "off"}};

	for (int i = 0; i < (int) lengthof(settings); i++)
		(void) set_config_option(settings[i][0], settings[i][1], PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0,
								 false);
}

/* Returns the one jsonb of a statement whose first value is to be the customer's group. */
static Datum
run_for_group(KeptPlan *plan, int64 customer_id, Datum *values)
{
	MemoryContext context = CurrentMemoryContext;
	MemoryContext old;
	SpiScope scope;
	bool isnull;
	Jsonb *answer;

	omni_table("customer");
	spi_scope_begin(&scope, false);
	keep_plans_simple();
	values[0] = PointerGetDatum(customer_group(customer_id, CurrentMemoryContext));
	if (kept_plan_run(plan, values, NULL, true, 1) != 1)
		elog(ERROR, "the context of customer " INT64_FORMAT " was not returned", customer_id);
	old = MemoryContextSwitchTo(context);
	answer = DatumGetJsonbPCopy(spi_datum(0, 1, &isnull));
	MemoryContextSwitchTo(old);
	spi_scope_end(&scope);
	return JsonbPGetDatum(answer);
}

/* Returns how many contacts are asked for; raises 22023 for a number that is out of range. */
static int32
contacts_argument(FunctionCallInfo fcinfo, int argument)
{
	int32 count = PG_ARGISNULL(argument) ? -1 : PG_GETARG_INT32(argument);

	if (count < 0 || count > CONTACTS_MAX)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("the number of contacts must be from 0 to %d, not %s", CONTACTS_MAX,
							   PG_ARGISNULL(argument) ? "NULL" : psprintf("%d", count)),
						errhint("timeline() returns more, page by page.")));
	return count;
}

/* Raises 22023 where no customer is named. */
static int64
customer_argument(FunctionCallInfo fcinfo)
{
	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("customer_id must not be NULL"),
						errhint("identify('email', 'anna@example.com') returns the customer of an address.")));
	return PG_GETARG_INT64(0);
}

/* customer_context(customer_id, contacts): returns what there is to know of the customer now. */
Datum
omnichannel_customer_context(PG_FUNCTION_ARGS)
{
	int64 customer_id = customer_argument(fcinfo);
	Datum values[2] = {(Datum) 0, Int32GetDatum(contacts_argument(fcinfo, 1))};

	PG_RETURN_DATUM(run_for_group(&context_select, customer_id, values));
}

/* context_since(customer_id, since, contacts): returns what was recorded of the customer since then. */
Datum
omnichannel_context_since(PG_FUNCTION_ARGS)
{
	int64 customer_id = customer_argument(fcinfo);
	Datum values[3] = {(Datum) 0, (Datum) 0, Int32GetDatum(contacts_argument(fcinfo, 2))};

	if (PG_ARGISNULL(1))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("since must not be NULL"),
						errhint("Pass the as_of of the answer before; customer_context() tells everything.")));
	values[1] = PG_GETARG_DATUM(1);
	PG_RETURN_DATUM(run_for_group(&since_select, customer_id, values));
}
