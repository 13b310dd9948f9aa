-- The statement that deletes a book. The server refuses it while a session is open on the book.
SELECT format('DROP DATABASE %I', :book::text)
