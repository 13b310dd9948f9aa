"""Write validated rows into the tables: by way of the table `incoming`, or straight."""
