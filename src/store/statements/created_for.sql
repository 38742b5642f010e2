-- The sub claim of the request's token, when the session is an API gateway's.
-- Locks nothing.
select case
         when exists (select from pgflow.gateway_roles g where g.role_name = session_user)
         then nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub'
       end
