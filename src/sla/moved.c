/*
 * moved.c
 *	  To whose family moments belong, and what is done where that turns out to be another one.
 *
 * A family is found without a lock, which is taken by it. So it is asked for again once the lock is had: somebody may
 * have merged or parted customers meanwhile.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/timestamp.h"

#include "omnichannel.h"
#include "core/look.h"
#include "sla/clock.h"

static KeptPlan roots_select = {
	.sql = "SELECT customer_id, coalesce(merged_into, customer_id) FROM omnichannel.customer"
		   " WHERE customer_id = ANY ($1) ORDER BY customer_id",
	.nargs = 1,
	.argtypes = {INT8ARRAYOID},
	.indexed = true,
};

static LookUp merged_look = {
	.table = "customer",
	.nkeys = 1,
	.where = INDEX_NOT_NULL,
	.where_column = "merged_into",
	.ncolumns = 2,
	.columns = (const TableColumn[]){{"customer_id", INT8OID}, {"merged_into", INT8OID}},
};

/* Orders new moments by the customer of whom they were logged. For qsort of pointers. */
static int
compare_customers(const void *a, const void *b)
{
	int64 left = (*(SlaNewMoment *const *) a)->moment.customer_id;
	int64 right = (*(SlaNewMoment *const *) b)->moment.customer_id;

	return left < right ? -1 : left > right;
}

/* Sets the roots of moments, which are sorted by customer, without SQL; returns false where SQL is asked for. */
static bool
look_up_roots(SlaNewMoment **moments, int count)
{
	LookScan scan;

	if (!look_open(&scan, &merged_look, 1, NULL))
		return false;
	for (int i = 0; i < count; i++)
	{
		int64 customer_id = moments[i]->moment.customer_id;
		Datum keys[1] = {Int64GetDatum(customer_id)};
		Datum row[2];
		bool nulls[2];

		if (i > 0 && customer_id == moments[i - 1]->moment.customer_id)
		{
			moments[i]->root = moments[i - 1]->root;
			continue;
		}
		look_find(&scan, keys);
		moments[i]->root = look_next(&scan, false, row, nulls) ? DatumGetInt64(row[1]) : customer_id;
	}
	look_end(&scan);
	return true;
}

/* sla_roots_find sets whose family new moments belong to. Needs an SPI scope. */
void
sla_roots_find(SlaNewMoment **moments, int count)
{
	SlaColumn ids = {.type = INT8OID};
	Datum values[1];
	uint64 rows;
	uint64 row = 0;

	if (count == 0)
		return;
	qsort(moments, count, sizeof(SlaNewMoment *), compare_customers);
	if (look_up_roots(moments, count))
		return;
	for (int i = 0; i < count; i++)
		if (i == 0 || moments[i]->moment.customer_id != moments[i - 1]->moment.customer_id)
			sla_column_add_id(&ids, moments[i]->moment.customer_id);
	values[0] = sla_column_array(&ids);
	rows = kept_plan_run(&roots_select, values, NULL, false, 0);
	for (int i = 0; i < count; i++)
	{
		int64 customer_id = moments[i]->moment.customer_id;

		while (row < rows && spi_id(row, 1) < customer_id)
			row++;
		if (row < rows && spi_id(row, 1) == customer_id)
			moments[i]->root = spi_id(row, 2);
		else
			moments[i]->root = customer_id;
	}
	SPI_freetuptable(SPI_tuptable);
}

/* Adds a family whose clocks are to be reckoned as of a time. */
static void
add_moved(SlaMoved *moved, int64 root, TimestampTz at)
{
	MemoryContext old = MemoryContextSwitchTo(moved->context);

	sla_column_add_id(&moved->roots, root);
	MemoryContextSwitchTo(old);
	moved->from = moved->roots.count == 1 ? at : Min(moved->from, at);
}

/*
 * sla_moved_find adds to moved the families of moments that were taken to be of another one, as turned out once its row
 * was had: somebody has merged or parted customers meanwhile. Returns how many families have moments of their own left,
 * which it moves to the front: whoever holds the row of its root now may hold clocks of the others. Needs an SPI scope.
 */
int
sla_moved_find(SlaNewMoment **moments, int count, SlaFamily *families, int family_count, SlaMoved *moved)
{
	SlaNewMoment **doubtful = palloc(sizeof(SlaNewMoment *) * count);
	int64 *roots = palloc(sizeof(int64) * count);
	int family = 0;
	int doubts = 0;
	int left = 0;

	/* Both are in the order of the roots; there are no families of the moments that were only written. */
	for (int i = 0; i < count; i++)
	{
		while (family < family_count && families[family].root < moments[i]->root)
			family++;
		if (family < family_count && families[family].root == moments[i]->root &&
			(families[family].grouped || moments[i]->root != moments[i]->moment.customer_id))
			doubtful[doubts++] = moments[i];
	}
	if (doubts == 0)
		return family_count;
	qsort(doubtful, doubts, sizeof(SlaNewMoment *), compare_customers);
	for (int i = 0; i < doubts; i++)
		roots[i] = doubtful[i]->root;
	sla_roots_find(doubtful, doubts);
	for (int i = 0; i < doubts; i++)
		if (doubtful[i]->root != roots[i])
		{
			sla_family_find(families, family_count, roots[i])->moved_count++;
			add_moved(moved, doubtful[i]->root, doubtful[i]->moment.at);
		}
	for (int i = 0; i < family_count; i++)
		if (families[i].moved_count < families[i].moment_count)
		{
			/* What has moved must not move its clocks on. */
			if (families[i].moved_count > 0)
				families[i].late = true;
			families[left++] = families[i];
		}
	return left;
}

/*
 * sla_moved_follow reckons the families that moments have moved to. Those that others hold are left to tick(): who
 * waits in the midst of other locks may lock up. Nor must anybody be waited for afterwards. Needs an SPI scope.
 */
void
sla_moved_follow(const SlaMoved *moved, const SlaPolicies *policies, SlaChanges *changes)
{
	int64 *roots = palloc(sizeof(int64) * Max(moved->roots.count, 1));
	SlaFamily *families;
	int count = moved->roots.count;

	if (count == 0)
		return;
	for (int i = 0; i < count; i++)
		roots[i] = DatumGetInt64(moved->roots.values[i]);
	count = sla_families_of(roots, count, &families);
	for (int i = 0; i < count; i++)
		families[i].from = moved->from;
	count = sla_families_take(families, count, policies, true);
	sla_families_reckon_read(families, count, policies, changes);
	sla_changes_write(changes);
}
