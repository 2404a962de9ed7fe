\copy tracked (sender, kind, agent, body) FROM '/tmp/bulkwork/rows.inbound'
