-- Stamp each new moment while its transaction commits.
--
-- Deferred: the time has to be that of the commit, not of the first write. A constraint trigger
-- alone can be deferred, and PostgreSQL cannot replace one, so it is dropped first.
DROP TRIGGER IF EXISTS moment_stamped ON moments;

CREATE CONSTRAINT TRIGGER moment_stamped
AFTER INSERT ON moments DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW EXECUTE FUNCTION stamp_moment();
