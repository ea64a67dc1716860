"""The verbs: pure functions of the nouns. Each formula of the project has its one home here."""
