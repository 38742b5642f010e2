-- What the demo works on, and the functions that its sql steps call. Each gets the input of its task and returns its
-- output; what it writes is committed together with the task's completion, or not at all. So it is written as if it were
-- called once.

CREATE SCHEMA handbook;

CREATE TABLE handbook.pages (
  path text PRIMARY KEY,
  body text NOT NULL
);

CREATE TABLE handbook.sections (
  section_id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  path       text NOT NULL REFERENCES handbook.pages,
  anchor     text NOT NULL,
  title      text NOT NULL,
  body       text NOT NULL,
  words      integer,
  search     tsvector
);
CREATE INDEX ON handbook.sections USING gin (search);

CREATE TABLE handbook.links (
  section_id integer NOT NULL REFERENCES handbook.sections ON DELETE CASCADE,
  target     text NOT NULL
);

CREATE TABLE handbook.report (
  edition      text NOT NULL,
  path         text NOT NULL REFERENCES handbook.pages,
  sections     integer NOT NULL,
  words        integer NOT NULL,
  reading_ease numeric,
  hardest      text,
  approved_by  text NOT NULL,
  PRIMARY KEY (edition, path)
);

-- A heading begins a section, unless it stands in a block of code. Returns the sections, for the map.
CREATE FUNCTION handbook.split(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
  DELETE FROM handbook.sections;
  WITH lines AS (
    SELECT p.path, l.n, l.line,
           count(*) FILTER (WHERE l.line LIKE '```%') OVER so_far % 2 = 1 AS is_code
    FROM handbook.pages p, string_to_table(p.body, E'\n') WITH ORDINALITY l (line, n)
    WINDOW so_far AS (PARTITION BY p.path ORDER BY l.n)
  ), numbered AS (
    SELECT l.*, count(*) FILTER (WHERE l.line ~ '^#+ ' AND NOT l.is_code) OVER (PARTITION BY l.path ORDER BY l.n) AS section
    FROM lines l
  ), sections AS (
    SELECT n.path, n.section, string_agg(n.line, E'\n' ORDER BY n.n) AS body,
           regexp_replace((array_agg(n.line ORDER BY n.n))[1], '^#+ ', '') AS title
    FROM numbered n
    WHERE n.section > 0
    GROUP BY n.path, n.section
  )
  INSERT INTO handbook.sections (path, anchor, title, body)
  SELECT path, replace(regexp_replace(lower(title), '[^[:alnum:] _-]', '', 'g'), ' ', '-'), title, body
  FROM sections
  ORDER BY path, section;
  RETURN (SELECT jsonb_agg(section_id ORDER BY section_id) FROM handbook.sections);
END
$$;

-- Of one section: what can be searched, how many words there are, where its links lead. Returns the prose, without code,
-- tables and addresses.
CREATE FUNCTION handbook.index(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
  id integer := input ->> 'item';
  section handbook.sections;
  prose text;
BEGIN
  SELECT * INTO STRICT section FROM handbook.sections WHERE section_id = id;
  prose := regexp_replace(section.body, '```.*?```', '', 'g');
  INSERT INTO handbook.links (section_id, target)
  SELECT id, link[1] FROM regexp_matches(prose, '\]\(([^) ]+)\)', 'g') AS link;
  prose := regexp_replace(prose, '\]\([^)]*\)', '', 'g');
  prose := regexp_replace(prose, '^(\|.*|#+ .*)$', '', 'gn');
  prose := regexp_replace(prose, '[][`*>]', '', 'g');
  UPDATE handbook.sections
  SET words = cardinality(regexp_split_to_array(trim(body), '\s+')),
      search = setweight(to_tsvector('english', title), 'A') || to_tsvector('english', body)
  WHERE section_id = id;
  RETURN jsonb_build_object('section', id, 'prose', prose);
END
$$;

-- Links from page to page that lead nowhere. The input has the output of step index too, which the tables say better.
CREATE FUNCTION handbook.links(input jsonb) RETURNS jsonb LANGUAGE sql AS $$
  WITH links AS (
    SELECT s.path, l.target, split_part(l.target, '#', 2) AS anchor,
           CASE WHEN l.target LIKE '#%' THEN s.path
                -- Up to two folders up.
                ELSE regexp_replace(regexp_replace(coalesce(substring(s.path, '^.*/'), '') || split_part(l.target, '#', 1),
                                                   '[^/.]+/\.\./', ''), '[^/.]+/\.\./', '') END AS page
    FROM handbook.links l
    JOIN handbook.sections s USING (section_id)
  ), pages AS (
    SELECT * FROM links WHERE page LIKE '%.md' AND target NOT LIKE '%://%'
  )
  SELECT jsonb_build_object(
    'checked', (SELECT count(*) FROM pages),
    'broken', (SELECT coalesce(jsonb_agg(p.path || ' → ' || p.target ORDER BY p.path, p.target), '[]')
               FROM pages p
               WHERE NOT EXISTS (SELECT FROM handbook.sections s
                                 WHERE s.path = p.page AND p.anchor IN ('', s.anchor))))
$$;

-- The report, and the run's output.
CREATE FUNCTION handbook.publish(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO handbook.report
  SELECT input -> 'run' ->> 'edition', s.path, count(*), sum(s.words),
         round(sum(score.reading_ease * score.words) / sum(score.words) FILTER (WHERE score.reading_ease IS NOT NULL), 1),
         (array_agg(s.title ORDER BY score.reading_ease))[1],
         input -> 'approve' ->> 'by'
  FROM handbook.sections s
  JOIN jsonb_to_recordset(input -> 'score') AS score (section integer, words integer, reading_ease numeric)
    ON score.section = s.section_id
  GROUP BY s.path;
  RETURN (
    SELECT jsonb_build_object('edition', input -> 'run' -> 'edition', 'pages', count(*), 'sections', sum(sections),
                              'words', sum(words), 'links', input -> 'links', 'approved_by', min(approved_by))
    FROM handbook.report
    WHERE edition = input -> 'run' ->> 'edition'
  );
END
$$;
