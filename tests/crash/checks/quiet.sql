-- no process met an error or an input that no kill explains
SELECT entry ->> 'text' FROM crash_test.journal WHERE entry ->> 'kind' = 'problem';

-- Must notice:
INSERT INTO crash_test.journal VALUES ('{"kind": "problem", "text": "made up"}');
