# Trains the model that tests ask MLServer for, on the breast-cancer data inside scikit-learn, and writes it here.
# The rows from 400 on are held out, so that tests can ask about rows that the model has not seen.
import json

import joblib
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

data = load_breast_cancer()
model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
model.fit(data.data[:400], data.target[:400])
joblib.dump(model, "breast-cancer.joblib")

rows = range(400, 420)
with open("breast-cancer-rows.json", "w") as file:
    known = [{"row": data.data[row].tolist(), "target": int(data.target[row])} for row in rows]
    json.dump(known, file)
