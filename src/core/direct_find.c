/*
 * direct_find.c
 *	  Rows looked up by their primary key, for the direct writer.
 */
#include "postgres.h"

#include "access/tableam.h"
#include "utils/rel.h"

#include "omnichannel.h"
#include "core/direct_write.h"

/* Begins to look rows up, under a snapshot that may be the writer's dirty one. */
void
direct_find_begin(DirectWrite *write, Snapshot snapshot)
{
	MemoryContext old = MemoryContextSwitchTo(write->estate->es_query_cxt);

	direct_find_end(write);
	if (snapshot == &write->dirty)
		InitDirtySnapshot(write->dirty);
	if (write->found == NULL)
		write->found = table_slot_create(write->info->ri_RelationDesc, &write->estate->es_tupleTable);
	write->scan = index_scan_begin(write->info->ri_RelationDesc, write->key, snapshot, write->table->nkeys);
	MemoryContextSwitchTo(old);
}

/* Looks a row up; found holds it then. */
bool
direct_find(DirectWrite *write, const Datum *keys)
{
	for (int i = 0; i < write->table->nkeys; i++)
		write->key_scan[i].sk_argument = keys[i];
	index_rescan(write->scan, write->key_scan, write->table->nkeys, NULL, 0);
	return index_getnext_slot(write->scan, ForwardScanDirection, write->found);
}

/* Ends the looking up. */
void
direct_find_end(DirectWrite *write)
{
	if (write->scan == NULL)
		return;
	index_endscan(write->scan);
	write->scan = NULL;
	ExecClearTuple(write->found);
}
