-- The statement that creates a book, with its name in it: it can have no parameters.
SELECT format('CREATE DATABASE %I', :book::text)
