from keras_lip.regularizers.parseval import Parseval as Parseval
