-- The secrets with this name in Supabase Vault. Runs with the rights of the view's owner.
-- Locks nothing.
select s.decrypted_secret::text from vault.decrypted_secrets s where s.name = $1 and s.decrypted_secret is not null
