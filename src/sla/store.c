/*
 * store.c
 *	  Moments written and read, and customers' segments.
 *
 * Moments of a customer are written under a lock on its row of sla_customer, which is taken by an update: at READ
 * COMMITTED the statements after it see all that others wrote under it, and above it the update itself fails with 40001
 * where they could not.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "omnichannel.h"
#include "core/row.h"
#include "sla/clock.h"

#define MOMENT_NCOLUMNS 15

static KeptPlan moments_write = {
	.sql =
		"WITH written AS (INSERT INTO omnichannel.sla_moment (" SLA_MOMENT_COLUMNS ") SELECT * FROM"
		" unnest($6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20))"
		" INSERT INTO omnichannel.sla_customer AS h"
		" (customer_id, next_at, next_rank, last_at, last_rank, late, oldest_at)"
		" SELECT u.*, false, u.next_at FROM unnest($1, $2, $3, $4, $5)"
		" AS u (customer_id, next_at, next_rank, last_at, last_rank)"
		" ON CONFLICT (customer_id) DO UPDATE SET"
		" late = (excluded.next_at, excluded.next_rank) <= (h.last_at, h.last_rank),"
		" next_at = excluded.next_at, next_rank = excluded.next_rank, last_at = greatest(h.last_at, excluded.last_at),"
		" last_rank = CASE WHEN (excluded.last_at, excluded.last_rank) > (h.last_at, h.last_rank)"
		" THEN excluded.last_rank ELSE h.last_rank END, oldest_at = least(h.oldest_at, excluded.oldest_at),"
		" waits_request_id = NULL"
		" RETURNING customer_id, late, grouped",
	.nargs = 20,
	.argtypes = {INT8ARRAYOID, TIMESTAMPTZARRAYOID, INT2ARRAYOID, TIMESTAMPTZARRAYOID, INT2ARRAYOID,
				 INT8ARRAYOID, TIMESTAMPTZARRAYOID, INT8ARRAYOID, TEXTARRAYOID,        INT8ARRAYOID,
				 INT8ARRAYOID, TEXTARRAYOID,        TEXTARRAYOID, TEXTARRAYOID,        TEXTARRAYOID,
				 TEXTARRAYOID, TEXTARRAYOID,        TEXTARRAYOID, INT4ARRAYOID,        INT8ARRAYOID},
	.indexed = true,
};

static KeptPlan moments_only = {
	.sql = "INSERT INTO omnichannel.sla_moment (" SLA_MOMENT_COLUMNS ") SELECT * FROM"
		   " unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
	.nargs = MOMENT_NCOLUMNS,
	.argtypes = {INT8ARRAYOID, TIMESTAMPTZARRAYOID, INT8ARRAYOID, TEXTARRAYOID, INT8ARRAYOID, INT8ARRAYOID,
				 TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID,
				 INT4ARRAYOID, INT8ARRAYOID},
};

/* A contact that is still comes after the moment that it waits with, which is written. */
static KeptPlan moments_read = {
	.sql = "SELECT f.root, m.*, coalesce(m.at < h.settled_until, false) FROM " SLA_FAMILY " AS f"
		   " LEFT JOIN omnichannel.sla_customer AS h ON h.customer_id = f.customer_id"
		   " CROSS JOIN LATERAL (SELECT " SLA_MOMENT_COLUMNS
		   " FROM omnichannel.sla_moment AS m WHERE m.customer_id = f.customer_id"
		   " AND (m.what <> 'request' OR m.state IS NOT NULL) UNION ALL"
		   " SELECT " SLA_STILL_COLUMNS " FROM omnichannel.contact AS c"
		   " WHERE c.customer_id = f.customer_id AND c.still AND c.occurred_at >= greatest(h.settled_until,"
		   " (SELECT m.at FROM omnichannel.sla_moment AS m WHERE m.customer_id = f.customer_id"
		   " ORDER BY m.at LIMIT 1))"
		   " OFFSET 0) AS m ORDER BY f.root",
	.nargs = 1,
	.argtypes = {INT8ARRAYOID},
	.indexed = true,
};

static KeptPlan memberships_read = {
	.sql = "SELECT f.root, s.segment, coalesce(lower(s.valid), '-infinity'), coalesce(upper(s.valid), 'infinity')"
		   " FROM " SLA_FAMILY " AS f JOIN omnichannel.segment_member AS s ON s.customer_id = f.customer_id",
	.nargs = 1,
	.argtypes = {INT8ARRAYOID},
	.indexed = true,
};

/*
 * Of requests that contacts name, and of which nothing was said, those of others than the families, also where they are
 * no more, and closed ones.
 */
static KeptPlan named_read = {
	.sql = "SELECT u.root, coalesce(k.merged_into, k.customer_id), " SLA_CLOSED_COLUMNS
		   " FROM unnest($1, $2) AS u (root, request_id)"
		   " JOIN omnichannel.request AS r ON r.request_id = u.request_id"
		   " JOIN omnichannel.customer AS k ON k.customer_id = r.customer_id"
		   " WHERE r.closed_at IS NOT NULL OR coalesce(k.merged_into, k.customer_id) <> u.root"
		   " UNION ALL SELECT u.root, coalesce(k.merged_into, k.customer_id), g.*"
		   " FROM unnest($1, $2) AS u (root, request_id)"
		   " CROSS JOIN LATERAL (SELECT " SLA_MOMENT_COLUMNS " FROM omnichannel.sla_moment AS m"
		   " WHERE m.request_id = u.request_id AND m.what = 'request' AND m.state IS NULL OFFSET 0) AS g"
		   " JOIN omnichannel.customer AS k ON k.customer_id = g.customer_id"
		   " WHERE coalesce(k.merged_into, k.customer_id) <> u.root"
		   " AND NOT EXISTS (SELECT FROM omnichannel.request AS r WHERE r.request_id = u.request_id)",
	.nargs = 2,
	.argtypes = {INT8ARRAYOID, INT8ARRAYOID},
	.indexed = true,
};

static RowTable moment_row = {
	.name = "sla_moment",
	.ncolumns = 10,
	.columns = (const TableColumn[]){{"customer_id", INT8OID},
									 {"at", TIMESTAMPTZOID},
									 {"moment_id", INT8OID},
									 {"what", TEXTOID},
									 {"request_id", INT8OID},
									 {"contact_id", INT8OID},
									 {"channel", TEXTOID},
									 {"thread", TEXTOID},
									 {"source", TEXTOID},
									 {"outcome", TEXTOID}},
};

static const char *const moment_names[] = {"request", "inbound", "outbound"};

/* Returns a number for a new moment. */
int64
sla_next_moment_id(void)
{
	return nextval_internal(omni_table("sla_moment_moment_id_seq"), true);
}

/* Returns how the kind of a moment is written. */
const char *
sla_moment_name(MomentKind what)
{
	return moment_names[what];
}

/* Gives a family a moment. */
void
sla_family_add(SlaFamily *family, SlaMoment *moment)
{
	if (family->moment_count == family->moment_room)
	{
		family->moment_room = Max(4, family->moment_room * 2);
		family->moments = family->moments == NULL
							  ? palloc(sizeof(SlaMoment *) * family->moment_room)
							  : repalloc(family->moments, sizeof(SlaMoment *) * family->moment_room);
	}
	family->moments[family->moment_count++] = moment;
}

/* Returns the family of a root; families are sorted by it. */
SlaFamily *
sla_family_find(SlaFamily *families, int count, int64 root)
{
	int low = 0;
	int high = count - 1;

	while (low < high)
	{
		int middle = (low + high) / 2;

		if (families[middle].root < root)
			low = middle + 1;
		else
			high = middle;
	}
	if (count == 0 || families[low].root != root)
		elog(ERROR, "customer " INT64_FORMAT " was not asked for", root);
	return &families[low];
}

/* Returns an array of the families' roots. */
Datum
sla_roots_array(const SlaFamily *families, int count)
{
	SlaColumn roots = {.type = INT8OID};

	for (int i = 0; i < count; i++)
		sla_column_add_id(&roots, families[i].root);
	return sla_column_array(&roots);
}

/* Adds a moment's values to the columns of SLA_MOMENT_COLUMNS. */
static void
add_moment(SlaColumn *columns, const SlaMoment *moment)
{
	bool contact = moment->what != MOMENT_REQUEST;

	sla_column_add_id(&columns[0], moment->customer_id);
	sla_column_add(&columns[1], TimestampTzGetDatum(moment->at), false);
	sla_column_add_id(&columns[2], moment->moment_id);
	sla_column_add_text(&columns[3], moment_names[moment->what]);
	sla_column_add_id(&columns[4], moment->request_id);
	sla_column_add_id(&columns[5], moment->contact_id);
	sla_column_add_text(&columns[6], moment->channel);
	sla_column_add_text(&columns[7], moment->thread);
	sla_column_add_text(&columns[8], moment->source);
	sla_column_add_text(&columns[9], moment->outcome);
	sla_column_add_text(&columns[10], moment->state);
	sla_column_add_text(&columns[11], moment->kind);
	sla_column_add_text(&columns[12], moment->queue);
	sla_column_add(&columns[13], Int32GetDatum(moment->priority), contact);
	sla_column_add(&columns[14], Int64GetDatum(moment->version), contact);
}

/* Writes the families' new moments and nothing else; their locks are taken, or they are behind. Needs an SPI scope. */
void
sla_moments_add(const SlaFamily *families, int count)
{
	SlaColumn columns[MOMENT_NCOLUMNS] = {0};
	Datum values[MOMENT_NCOLUMNS];

	for (int i = 0; i < MOMENT_NCOLUMNS; i++)
		columns[i].type = get_element_type(moments_only.argtypes[i]);
	for (int i = 0; i < count; i++)
		for (int j = 0; j < families[i].moment_count; j++)
			add_moment(columns, families[i].moments[j]);
	for (int i = 0; i < MOMENT_NCOLUMNS; i++)
		values[i] = sla_column_array(&columns[i]);
	(void) kept_plan_run(&moments_only, values, NULL, false, 0);
}

/* Writes the moment of a contact, whose customer's lock was taken. Needs an SPI scope. */
void
sla_moment_add(const SlaMoment *moment)
{
	SlaMoment written = *moment;
	SlaMoment *moments[1] = {&written};
	SlaFamily family = {.root = moment->customer_id, .moment_count = 1, .moments = moments};
	Datum values[10] = {Int64GetDatum(moment->customer_id),  TimestampTzGetDatum(moment->at),
						Int64GetDatum(moment->moment_id),    CStringGetTextDatum(sla_moment_name(moment->what)),
						Int64GetDatum(moment->request_id),   Int64GetDatum(moment->contact_id),
						CStringGetTextDatum(moment->channel)};
	bool nulls[10] = {0};

	nulls[4] = moment->request_id == 0;
	nulls[5] = moment->contact_id == 0;
	nulls[7] = moment->thread == NULL;
	if (moment->thread != NULL)
		values[7] = CStringGetTextDatum(moment->thread);
	nulls[8] = moment->source == NULL;
	if (moment->source != NULL)
		values[8] = CStringGetTextDatum(moment->source);
	nulls[9] = moment->outcome == NULL;
	if (moment->outcome != NULL)
		values[9] = CStringGetTextDatum(moment->outcome);
	if (!row_insert(&moment_row, values, nulls, ROW_RAISES))
		sla_moments_add(&family, 1);
}

/* Returns what comes first or last of moments at the same time, which machine.c takes in the order of this. */
static int16
moment_rank(const SlaMoment *moment)
{
	return moment->what == MOMENT_REQUEST && sla_state_ends(moment->state) ? MOMENT_OUTBOUND + 1 : (int16) moment->what;
}

/*
 * sla_moments_write writes the families' new moments, which are sorted, takes the families' locks, and sets late,
 * grouped and from. The families are sorted by root. Needs an SPI scope.
 */
void
sla_moments_write(SlaFamily *families, int count)
{
	SlaColumn columns[5 + MOMENT_NCOLUMNS] = {0};
	Datum values[5 + MOMENT_NCOLUMNS];
	uint64 held;

	for (int i = 0; i < 5 + MOMENT_NCOLUMNS; i++)
		columns[i].type = get_element_type(moments_write.argtypes[i]);
	for (int i = 0; i < count; i++)
	{
		const SlaMoment *first = families[i].moments[0];
		const SlaMoment *last = families[i].moments[families[i].moment_count - 1];
		int16 first_rank = moment_rank(first);
		int16 last_rank = moment_rank(last);

		for (int j = 0; j < families[i].moment_count; j++)
		{
			const SlaMoment *moment = families[i].moments[j];

			if (moment->at == first->at)
				first_rank = Min(first_rank, moment_rank(moment));
			if (moment->at == last->at)
				last_rank = Max(last_rank, moment_rank(moment));
		}
		families[i].from = first->at;
		sla_column_add_id(&columns[0], families[i].root);
		sla_column_add(&columns[1], TimestampTzGetDatum(first->at), false);
		sla_column_add(&columns[2], Int16GetDatum(first_rank), false);
		sla_column_add(&columns[3], TimestampTzGetDatum(last->at), false);
		sla_column_add(&columns[4], Int16GetDatum(last_rank), false);
		for (int j = 0; j < families[i].moment_count; j++)
			add_moment(&columns[5], families[i].moments[j]);
	}
	for (int i = 0; i < 5 + MOMENT_NCOLUMNS; i++)
		values[i] = sla_column_array(&columns[i]);

	held = kept_plan_run(&moments_write, values, NULL, false, 0);
	for (uint64 i = 0; i < held; i++)
	{
		bool isnull;
		SlaFamily *family = sla_family_find(families, count, spi_id(i, 1));

		family->late |= DatumGetBool(spi_datum(i, 2, &isnull));
		family->grouped = DatumGetBool(spi_datum(i, 3, &isnull));
	}
	SPI_freetuptable(SPI_tuptable);
}

/* Returns a moment of a row with SLA_MOMENT_COLUMNS from a column on, in the current context. */
SlaMoment *
sla_moment_from_row(uint64 row, int column)
{
	SlaMoment *moment = palloc0(sizeof(SlaMoment));
	const char *what = spi_text(row, column + 3, CurrentMemoryContext);
	bool isnull;
	Datum priority;

	moment->customer_id = spi_id(row, column);
	moment->at = spi_time(row, column + 1, NO_TIME);
	moment->moment_id = spi_id(row, column + 2);
	moment->what = what[0] == 'r' ? MOMENT_REQUEST : what[0] == 'i' ? MOMENT_INBOUND : MOMENT_OUTBOUND;
	moment->request_id = spi_id(row, column + 4);
	moment->contact_id = spi_id(row, column + 5);
	moment->channel = spi_text(row, column + 6, CurrentMemoryContext);
	moment->thread = spi_text(row, column + 7, CurrentMemoryContext);
	moment->source = spi_text(row, column + 8, CurrentMemoryContext);
	moment->outcome = spi_text(row, column + 9, CurrentMemoryContext);
	moment->state = spi_text(row, column + 10, CurrentMemoryContext);
	moment->kind = spi_text(row, column + 11, CurrentMemoryContext);
	moment->queue = spi_text(row, column + 12, CurrentMemoryContext);
	priority = spi_datum(row, column + 13, &isnull);
	moment->priority = isnull ? 0 : DatumGetInt32(priority);
	moment->version = spi_id(row, column + 14);
	return moment;
}

/* Orders moments by request; those that tell of it come first. For qsort of pointers. */
int
sla_moment_compare_requests(const void *a, const void *b)
{
	const SlaMoment *left = *(SlaMoment *const *) a;
	const SlaMoment *right = *(SlaMoment *const *) b;

	if (left->request_id != right->request_id)
		return left->request_id < right->request_id ? -1 : 1;
	return (int) left->what - (int) right->what;
}

/* Takes the request of another customer from a family's contacts. */
static void
drop_foreign(SlaFamily *family, int64 request_id, int64 root)
{
	for (int i = 0; i < family->moment_count; i++)
		if (family->moments[i]->request_id == request_id)
		{
			family->moments[i]->request_id = 0;
			family->moments[i]->foreign_id = request_id;
			family->moments[i]->foreign_root = root;
		}
}

/*
 * Finds out about the requests that the families' contacts name, but of which none of their moments tells. Those of
 * others are taken from them: they name them since customers were one who are not any more, and what waits for an
 * answer then is the contact, not that request. Of those that were closed before anybody looked, said is set. Orders
 * the moments anyhow. Needs an SPI scope.
 */
static void
read_named(SlaFamily *families, int count)
{
	SlaColumn asked[2] = {{.type = INT8OID}, {.type = INT8OID}};
	Datum values[2];
	uint64 rows;

	for (int i = 0; i < count; i++)
	{
		SlaMoment **moments = families[i].moments;

		qsort(moments, families[i].moment_count, sizeof(SlaMoment *), sla_moment_compare_requests);
		for (int j = 0; j < families[i].moment_count; j++)
		{
			if (moments[j]->request_id == 0 || moments[j]->what == MOMENT_REQUEST ||
				(j > 0 && moments[j]->request_id == moments[j - 1]->request_id))
				continue;
			sla_column_add_id(&asked[0], families[i].root);
			sla_column_add_id(&asked[1], moments[j]->request_id);
		}
	}
	if (asked[0].count == 0)
		return;
	values[0] = sla_column_array(&asked[0]);
	values[1] = sla_column_array(&asked[1]);
	named_read.runs += asked[0].count - 1;
	rows = kept_plan_run(&named_read, values, NULL, false, 0);
	for (uint64 i = 0; i < rows; i++)
	{
		SlaFamily *family = sla_family_find(families, count, spi_id(i, 1));
		SlaMoment *closed = sla_moment_from_row(i, 3);
		int64 root = spi_id(i, 2);

		if (root != family->root)
			drop_foreign(family, closed->request_id, root);
		else
		{
			if (family->said_count == 0)
				family->said = palloc(sizeof(SlaMoment *) * family->moment_count);
			family->said[family->said_count++] = closed;
		}
	}
	SPI_freetuptable(SPI_tuptable);
}

/*
 * Sets late of families whose new moments, which are sorted, name requests of customers who are others by now: such a
 * contact does not do what it says. Their rows are had. Needs an SPI scope.
 */
void
sla_families_foreign(SlaFamily *families, int count)
{
	for (int i = 0; i < count; i++)
	{
		SlaFamily *family = &families[i];

		if (!family->others || family->late)
			continue;
		read_named(family, 1);
		for (int j = 0; j < family->moment_count && !family->late; j++)
			family->late = family->moments[j]->foreign_id != 0;
		qsort(family->moments, family->moment_count, sizeof(SlaMoment *), sla_moment_compare);
	}
}

/*
 * Reads all moments of the families into them, sorted, those of still contacts among them, in place of those that they
 * had. Needs an SPI scope.
 */
void
sla_moments_read(SlaFamily *families, int count)
{
	Datum values[1] = {sla_roots_array(families, count)};
	uint64 rows = kept_plan_run(&moments_read, values, NULL, false, 0);

	for (int i = 0; i < count; i++)
		families[i].moment_count = families[i].said_count = 0;
	for (uint64 i = 0; i < rows; i++)
	{
		SlaMoment *moment = sla_moment_from_row(i, 2);
		bool isnull;

		moment->settled = DatumGetBool(spi_datum(i, 2 + MOMENT_NCOLUMNS, &isnull));
		sla_family_add(sla_family_find(families, count, spi_id(i, 1)), moment);
	}
	SPI_freetuptable(SPI_tuptable);
	read_named(families, count);
	for (int i = 0; i < count; i++)
		qsort(families[i].moments, families[i].moment_count, sizeof(SlaMoment *), sla_moment_compare);
}

/* Reads the segments of families, which are sorted, where policies name any. Needs an SPI scope. */
void
sla_families_memberships(const SlaPolicies *policies, SlaFamily *families, int count)
{
	Datum values[1];
	uint64 rows;

	if (!policies->segments || count == 0)
		return;
	for (int i = 0; i < count; i++)
		families[i].memberships = (SlaMemberships){.known = true};
	values[0] = sla_roots_array(families, count);
	memberships_read.runs += count - 1;
	rows = kept_plan_run(&memberships_read, values, NULL, false, 0);
	for (uint64 i = 0; i < rows; i++)
	{
		SlaMemberships *found = &sla_family_find(families, count, spi_id(i, 1))->memberships;

		/* Grown by doubling: there is room where the count is no power of two. */
		if ((found->count & (found->count - 1)) == 0)
		{
			Size size = sizeof(SlaMembership) * Max(1, found->count * 2);

			found->memberships = found->memberships == NULL ? palloc(size) : repalloc(found->memberships, size);
		}
		found->memberships[found->count++] =
			(SlaMembership){spi_text(i, 2, CurrentMemoryContext), spi_time(i, 3, NO_TIME), spi_time(i, 4, NO_TIME)};
	}
	SPI_freetuptable(SPI_tuptable);
}

/* Reads the segments of the machine's customer. Needs an SPI scope. */
void
sla_memberships_read(SlaMachine *machine)
{
	SlaFamily family = {.root = machine->root};

	sla_families_memberships(machine->policies, &family, 1);
	machine->memberships = family.memberships;
}
