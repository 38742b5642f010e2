-- Pictures of flows and runs.

-- An API gateway that names its answers after the type of the result (PostgREST does) serves these as images.
CREATE DOMAIN pgflow."image/svg+xml" AS text;
COMMENT ON DOMAIN pgflow."image/svg+xml" IS 'An SVG document. PostgREST answers requests for this media type with the text itself.';
