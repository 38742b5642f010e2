-- Whether the session is an API gateway's, and the sub claim of the request's token if it is.
-- Locks nothing.
select g.is_gateway,
       case when g.is_gateway then nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub' end
from (select exists (select from pgflow.gateway_roles g where g.role_name = session_user) as is_gateway) g
