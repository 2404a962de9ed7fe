/*
 * recent.h
 *	  Pages of tables and indexes, read from the buffers where they were lately; see core/recent.c.
 */
#ifndef OMNICHANNEL_RECENT_H
#define OMNICHANNEL_RECENT_H

#include "storage/buf.h"
#include "utils/relcache.h"

extern Buffer recent_read(Relation relation, BlockNumber block);
extern Buffer recent_map(Relation table, BlockNumber block);
extern void recent_map_read(Relation table, BlockNumber block, Buffer buffer);
extern Buffer recent_release_and_read(Buffer buffer, Relation relation, BlockNumber block);

#endif /* OMNICHANNEL_RECENT_H */
