-- The role and the claims of the caller, until the transaction ends; and whether the role is the one that logged in, as which
-- nobody may ask. The role comes last: it may not be allowed to do this.
select set_config('request.jwt.claims', $2, true), set_config('role', $1, true), session_user = $1 as is_login
