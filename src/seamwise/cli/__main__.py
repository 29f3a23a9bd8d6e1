from seamwise.cli import main

main()
